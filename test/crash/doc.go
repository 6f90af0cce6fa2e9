// Package crash cuts the power under a real node: its data lies on a file system
// that loses what was not synced. The tests need the build tag integration, FUSE and
// the right to mount.
package crash
