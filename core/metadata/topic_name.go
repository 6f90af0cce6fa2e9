package metadata

import "fmt"

// MaxTopicName is the longest name a topic may have: with "-" and a partition it
// is a directory's name.
const MaxTopicName = 249

// ValidateTopicName tells what is wrong with a topic's name. The rule is Kafka's:
// 1 to 249 of the characters a-z, A-Z, 0-9, ".", "_" and "-", and not "." or "..".
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the topic name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("topic name %q is not allowed: it is a directory's", name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("the topic name has %d characters; %d are allowed", len(name), MaxTopicName)
	}
	for i := range len(name) {
		if !legalInTopicName(name[i]) {
			return fmt.Errorf("topic name %q has an illegal character at position %d; allowed are a-z, A-Z, 0-9, '.', '_' and '-'", name, i)
		}
	}
	return nil
}

func legalInTopicName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
