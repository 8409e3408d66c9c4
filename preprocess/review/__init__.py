"""A person looks at the cines of a cohort in the browser, and corrects what is known of them.

`corrections` is the one place where a decision is checked, tracked and written: first to the
journal (`preprocess.cohort.reviews`), then to the cohort. `contents` is what the page shows,
`server` lets in one browser and nobody else, `doubts` says which cine comes first. The page
(`review.html`, `review.js` and its modules) needs no build step and loads nothing from elsewhere.
"""
