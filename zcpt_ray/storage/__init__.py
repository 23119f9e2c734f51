"""Where runs lie: local paths and URIs, files that are whole or not there, run directories, copies to object stores."""
