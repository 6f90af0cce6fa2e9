// Package thirdparty builds the example plugins of plugins/examples as a stranger
// would, from copies outside the repository, and runs clusters on them. The tests
// need the tag integration; the one of the Python plugin skips, and says so, where
// there is no Python or no package index.
package thirdparty
