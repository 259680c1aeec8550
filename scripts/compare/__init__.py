"""Many run folders, one answer: which method is better, by how much, and how sure that is.

run folders -> runs.gather -> methods.group -> statistics -> figures, tables -> html.page
"""
