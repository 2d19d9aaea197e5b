"""x"""
ReadBack=read_back=None
