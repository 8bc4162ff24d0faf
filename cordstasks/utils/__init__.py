"""Tools that know neither networks nor tasks: files, run folders, arguments, command lines."""
