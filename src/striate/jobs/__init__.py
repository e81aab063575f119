"""The jobs people come for: each joins the rooms below into one function that the command line and Python share."""
