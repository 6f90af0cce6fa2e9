// Package disk is what the log and the commit log need of a file system: an
// interface, the operating system behind it, and the few steps that every file
// which must survive a crash is written with. disktest has one in memory that
// loses and tears what was not synced.
package disk
