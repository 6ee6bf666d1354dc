// Tables of results sort by a click on a column's head; a line under the pointer says its name. Neither needs a kernel.
document.addEventListener("DOMContentLoaded", () => {
  const value = cell => {
    const text = cell.textContent.trim().replace(/−/g, "-").replace(/(\d),(?=\d{3}\b)/g, "$1");
    const number = text.match(/^[^\d+-]{0,2}([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/);
    return number ? parseFloat(number[1]) : null;
  };
  for (const table of document.querySelectorAll("div.cell_output table, table#tab-headline")) {
    const body = table.tBodies[0];
    const plain = table.tHead && table.tHead.rows.length === 1 && body && body.rows.length > 2;
    if (!plain || table.querySelector("[rowspan]:not([rowspan='1'])")) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const sort = () => {
        const up = head.getAttribute("aria-sort") === "descending";
        [...table.tHead.rows[0].cells].forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = (a, b) => {
          const [x, y] = [a.cells[column], b.cells[column]], [m, n] = [value(x), value(y)];
          if (m === null && n === null) return x.textContent.localeCompare(y.textContent);
          return m === null ? -1 : n === null ? 1 : m - n;
        };
        [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)).forEach(row => body.append(row));
      };
      head.classList.add("sorts");
      head.tabIndex = 0;
      head.title = "sort by this column";
      head.addEventListener("click", sort);
      head.addEventListener("keydown", event => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      });
    });
  }
  for (const picture of document.querySelectorAll("div.cell_output img, .pointed svg")) {
    picture.addEventListener("click", () => picture.classList.toggle("large"));
  }
  for (const figure of document.querySelectorAll(".pointed")) {
    const told = figure.appendChild(document.createElement("div"));
    told.className = "told";
    told.setAttribute("aria-live", "polite");
    told.textContent = "Point at a line for its name.";
    for (const run of figure.querySelectorAll("g.run")) {
      const tell = () => { told.textContent = run.querySelector("title").textContent; };
      run.setAttribute("tabindex", "0");
      run.addEventListener("pointerenter", tell);
      run.addEventListener("focus", tell);
    }
  }
});

// On paper nothing unfolds by a click: what was made how, and answers, are open; code that only draws stays away.
addEventListener("beforeprint", () => {
  document.querySelectorAll("article details:not(.hide)").forEach(fold => { fold.open = true; });
});
