package sdk

// The handshake between host and plugin, as go-plugin understands it. The cookie
// keeps a plugin from being started by hand, and is no secret.
const (
	CookieKey   = "QUORATE_CONSENSUS_PLUGIN"
	CookieValue = "5f6e2b5c-8a1d-4a55-9c3e-quorate-consensus"

	// ProtocolVersion is the major version of the contract.
	ProtocolVersion = 1
	// ContractMinor is the newest minor version that this SDK and host know.
	ContractMinor = 0

	// PluginName is the only entry of the plugin set.
	PluginName = "consensus"

	// HostFDKey names the variable with the number of the descriptor that reaches
	// EOF when the host dies.
	HostFDKey = "QUORATE_PLUGIN_HOST_FD"
	// LogLevelKey names the variable with the lowest level that is logged, one of
	// slog's names.
	LogLevelKey = "QUORATE_PLUGIN_LOG_LEVEL"
)
