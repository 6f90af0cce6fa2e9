package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// readiness answers /readyz. All checks run at once; one that does not come back in
// time has failed.
type readiness struct {
	checks  []Check
	timeout time.Duration
}

// ServeHTTP writes "[+] name ok" or "[-] name: why" for each check, in their order.
func (r readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), r.timeout)
	defer cancel()
	status, text := http.StatusOK, new(strings.Builder)
	for i, err := range r.run(ctx) {
		if err == nil {
			fmt.Fprintf(text, "[+] %s ok\n", r.checks[i].Name)
			continue
		}
		status = http.StatusServiceUnavailable
		fmt.Fprintf(text, "[-] %s: %v\n", r.checks[i].Name, err)
	}
	if status == http.StatusOK {
		text.WriteString("ready\n")
	} else {
		text.WriteString("not ready\n")
	}
	say(w, status, text.String())
}

// run returns the result of each check.
func (r readiness) run(ctx context.Context) []error {
	results := make([]error, len(r.checks))
	var wg sync.WaitGroup
	for i, c := range r.checks {
		wg.Go(func() { results[i] = c.Func(ctx) })
	}
	wg.Wait()
	return results
}
