// Command referrers-registry is crane's registry with the referrers API, which `crane registry serve` leaves out.
// Its only argument is the address to listen on.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	images := registry.New(registry.WithReferrersSupport(true))
	log.Fatal(http.ListenAndServe(os.Args[1], images))
}
