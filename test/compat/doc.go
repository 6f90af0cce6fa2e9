// Package compat runs real Kafka clients, unmodified, against clusters of real
// processes on every consensus backend: kcat (librdkafka), franz-go and the Java
// client's console tools.
//
// The tests have the build tag integration: `make compat`. A client that is not
// on the machine is skipped, loudly; test/run.sh installs what it may.
package compat
