// Runs before anything is drawn, so that a page in the theme that was chosen does not flash in the other one.
try {
  const theme = JSON.parse(localStorage.getItem("polls.theme"));
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
} catch {
  // A browser that keeps nothing, or an unreadable value: the theme of the system.
}
