// Programs inside the testbed's images. Apart from the project's own go.mod:
// nothing here is part of secretx.
module secretx.test/testbed/images

go 1.21
