// Sorts a table by the column whose header is clicked: by number where the column holds numbers, missing values last either way.
"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const numeric = header.dataset.numeric === "yes";
    const key = (row) => {
      const cell = row.cells[header.cellIndex];
      return numeric ? (cell.dataset.key === undefined ? null : Number(cell.dataset.key)) : cell.textContent;
    };
    const compare = (first, second) => {
      const [a, b] = [key(first), key(second)];
      if (a === null || b === null) return (a === null) - (b === null);
      return direction * (numeric ? (a > b) - (a < b) : a.localeCompare(b, "en", { numeric: true }));
    };
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    body.append(...[...body.rows].sort(compare));
  });
}
