// Its other half is what it is for.
