package core

import "github.com/quorate/quorate/core/replica"

// Replicas is the door by which tests append as coordinators do.
func (b *Broker) Replicas() *replica.Manager { return b.replicas }
