package metadata

import (
	"errors"
	"fmt"
	"strings"
)

// maxTopicName is how long a topic's name may be: with partition and suffix it
// is the name of a directory.
const maxTopicName = 249

// ValidateTopicName tells why a topic can not have this name, in Kafka's words.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return errors.New("Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return fmt.Errorf("Topic name is invalid: '%s' is not allowed", name)
	case len(name) > maxTopicName:
		return fmt.Errorf("Topic name is invalid: the length of '%.40s...' is longer than the max allowed length %d", name, maxTopicName)
	}
	for _, r := range name {
		if !legalInTopicName(r) {
			return fmt.Errorf("Topic name is invalid: %q contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}

func legalInTopicName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// TopicNamesCollide tells whether two names are one in metric names, where '.'
// becomes '_'.
func TopicNamesCollide(a, b string) bool {
	return strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}
