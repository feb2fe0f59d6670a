"""What does each contender have to do? One module for each; it may import that contender and the standard library only."""
