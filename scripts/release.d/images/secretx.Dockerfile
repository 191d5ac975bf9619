# kubectl secretx without kubectl: for `sync --watch` in a cluster or a Swarm. Certificates are for
# engines and API servers that the public authorities vouch for.
FROM scratch
ARG TARGETPLATFORM
COPY bin/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE bin/THIRD_PARTY_NOTICES /usr/share/doc/kubectl-secretx/
COPY $TARGETPLATFORM/kubectl-secretx /kubectl-secretx
USER 65532:65532
ENTRYPOINT ["/kubectl-secretx"]
