"""The Free Music Archive over HTTP: resumed downloads, and archives that are verified and unpacked safely."""
