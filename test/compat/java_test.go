//go:build integration

package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

const (
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
)

// The Java client by its console tools: an idempotent producer with every codec,
// a consumer in a group.
func TestJava(t *testing.T) {
	need(t, "java", "install it with: apt-get install default-jre-headless")
	jars := javaClient(t)
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, 3*time.Minute)
		const topic = "java"
		must(t, c.CreateTopic(ctx, c.Node(2), topic, 4, 3, nil))
		var want []string
		for _, codec := range []string{"none", "lz4", "zstd"} {
			values := numbered("java-"+codec, 300)
			_, err := command(ctx, values, "java", "-Xmx256m", "-cp", jars, consoleProducer,
				"--bootstrap-server", c.Node(1).Client, "--topic", topic, "--compression-codec", codec,
				"--producer-property", "acks=all", "--producer-property", "enable.idempotence=true")
			must(t, err)
			want = append(want, values...)
		}
		got, err := command(ctx, nil, "java", "-Xmx256m", "-cp", jars, consoleConsumer,
			"--bootstrap-server", c.Node(3).Client, "--topic", topic, "--group", "java-group",
			"--from-beginning", "--max-messages", fmt.Sprint(len(want)), "--timeout-ms", "60000")
		must(t, err)
		same(t, got, want)
	})
}

// javaClient is the class path of the Java client. test/run.sh fetches the jars
// from Maven into the folder that QUORATE_JAVA_CLIENT names.
func javaClient(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("QUORATE_JAVA_CLIENT")
	if dir == "" {
		dir = filepath.Join("java", "target", "dependency")
	}
	jars, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	must(t, err)
	if len(jars) == 0 {
		const fetch = "fetch it with: mvn -f test/compat/java dependency:copy-dependencies"
		if os.Getenv("CI") != "" {
			t.Fatalf("no Java client in %s; %s", dir, fetch)
		}
		t.Skipf("SKIPPED: no Java client in %s; %s", dir, fetch)
	}
	return strings.Join(jars, string(os.PathListSeparator))
}
