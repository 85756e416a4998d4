FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI += "file://holdfast.cfg"
