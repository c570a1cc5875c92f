"""The Report for people: terminal text, Markdown, HTML, Slack. Renderers show, they never analyse."""
