"""The family of a user's file: prompts with the right answers, and how an answer is compared with the right one."""
