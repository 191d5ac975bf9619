package kube

// Explain says which rights a look into containers takes, and why.
func (e *Endpoint) Explain() string {
	return `To look into a container, secretx runs a shell script in it by exec: it reads the files of secrets, with their modes and owners, and the environment of process 1, and
writes nothing. A Role in the namespace must allow:
  - get on namespaces (this one): which place it is
  - get on pods; for an owner or a selector list on pods, and get on the owner's kind: what is declared
  - get on secrets: what is current
  - create on pods/exec: to look; whoever has that right could read all of it by himself

Only with --allow-ephemeral, where exec can't look because an image has no shell or because a file belongs to somebody else, it adds an ephemeral
container to the pod, which takes patch on pods/ephemeralcontainers. It stays in the spec of the pod, as Kubernetes takes none away; its process ends after a minute.
  - it shares the processes of the container that it looks into (targetContainerName)
  - first as the user of that container, without any capability; where that isn't enough, as root, without capabilities but SYS_PTRACE, which opens
    /proc/PID/root and /proc/PID/environ of another container's process, and DAC_READ_SEARCH, which reads files that belong to another user;
    where the namespace's Pod Security Standard forbids those, as root with the capabilities that a runtime usually gives
  - its image is busybox:stable, or what --helper-image names

What is seen comes through the API server's connection. Values leave this process only with --reveal.
`
}
