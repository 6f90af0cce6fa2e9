// Package configs turns a config file, the environment and flags into one Config.
//
// The order is: defaults < file (YAML) < environment < flags. A key is a path with
// slashes, consensus/timing/heartbeat; the names under kafka/ are Kafka's own, dots
// included. In the environment a key is QUORATE_CONSENSUS__TIMING__HEARTBEAT: a double
// underscore for each slash, and a single one for a dot of Kafka's. Other variables that
// begin with QUORATE_ and have no double underscore are not looked at.
//
// Load reports every problem at once, each with the line and column or the variable
// or flag that it comes from. Explain tells for every key its value, where that came
// from, and what it means. quorate.yaml, beside this file, has all keys with their
// defaults; examples/ has files to start from.
//
// The package holds plain data: cmd/quorate maps it to the Config of each room.
package configs
