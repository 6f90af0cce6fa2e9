#!/bin/sh
# Builds the plugin below $BUILD (default: build/, beside this file): a virtual
# environment, the stubs of consensus.proto, and the executable quorate-python-solo,
# whose path it prints. A second run does only what is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
proto=${PROTO:-$here/../../../consensus/consensuspb}
build=${BUILD:-$here/build}
python=${PYTHON:-python3}
mkdir -p "$build/stubs"
build=$(cd "$build" && pwd)

if [ ! -e "$build/venv/installed" ]; then
  "$python" -m venv "$build/venv" >&2
  "$build/venv/bin/python" -m pip install --quiet -r "$here/requirements.txt" >&2
  touch "$build/venv/installed"
fi
"$build/venv/bin/python" -m grpc_tools.protoc -I "$proto" \
  --python_out="$build/stubs" --grpc_python_out="$build/stubs" "$proto/consensus.proto" >&2

# The broker starts plugins with an environment made from nothing, so that the
# executable has to know where everything is.
plugin=$build/quorate-python-solo
cat > "$plugin.tmp" <<EOF
#!/bin/sh
PYTHONPATH='$here:$build/stubs' PYTHONDONTWRITEBYTECODE=1 exec '$build/venv/bin/python' -m pysolo "\$@"
EOF
chmod 755 "$plugin.tmp"
mv "$plugin.tmp" "$plugin"
echo "$plugin"
