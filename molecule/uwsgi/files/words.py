WORDS = "as written"
