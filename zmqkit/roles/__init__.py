"""What the blocking and the asyncio roles share."""
