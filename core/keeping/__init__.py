"""What must outlive the machine: a keeper beside the files, and the journal of a live run by month."""
