"""Steps that use a finished run: predictions, features, exports, inspection."""
