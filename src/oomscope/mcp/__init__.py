"""The MCP server: five read-only tools over the same calls as the command line. See docs/mcp.md."""
