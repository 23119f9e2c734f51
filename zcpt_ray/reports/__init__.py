"""From records to tables, figures, drawings and an HTML page; prints nothing that it was not given."""
