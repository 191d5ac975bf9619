# The probe's helper, as `secretx probe-image` writes it: nothing but the program. It runs as root, since
# it reads what belongs to any user, with the few capabilities that the plugin gives it.
FROM scratch
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/secretx-probe /secretx-probe
ENTRYPOINT ["/secretx-probe"]
