"""Files in and out: verified bytes and geometry on the way in, whole files on the way out."""
