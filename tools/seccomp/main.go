// Prints containerd's default seccomp profile for linux/amd64 as OCI JSON. The profile allows more system calls to a process
// with more capabilities; this one is for a machine that holds only the few of them below.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	capabilities := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"}
	spec := &specs.Spec{
		Linux: &specs.Linux{},
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{
			Bounding:  capabilities,
			Effective: capabilities,
			Permitted: capabilities,
		}},
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(seccomp.DefaultProfile(spec)); err != nil {
		log.Fatal(err)
	}
}
