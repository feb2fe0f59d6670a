// Set the chosen theme before anything is drawn. Without a choice the browser decides.
"use strict";
try {
  const chosen = localStorage.getItem("leaseq-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch (error) {
  // A browser that keeps nothing has no choice to restore.
}
