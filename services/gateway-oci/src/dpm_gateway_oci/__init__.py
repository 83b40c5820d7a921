"""docker, podman, containerd and skopeo pull through it: the OCI distribution specification."""
