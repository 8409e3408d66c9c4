"""A person looks at the cines of a cohort in the browser, and corrects what is known of them."""
