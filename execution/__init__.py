"""The only room that sends orders: a package is all legs or none, at a limit, and nothing is ever left half done."""
