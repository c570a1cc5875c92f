(function () {
  "use strict";
  var each = function (sel, run) { Array.prototype.forEach.call(document.querySelectorAll(sel), run); };
  each("[data-js]", function (el) { el.hidden = false; });

  // Hover values of the charts.
  var tip = document.getElementById("tip");
  var point = function (event) {
    var mark = event.target.closest && event.target.closest("figure [aria-label]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.getAttribute("aria-label");
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 10) + "px";
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);

  // Column sort: by data-v when a cell has one, else by its text; unknown values last.
  each("th[data-sort]", function (head) {
    var button = document.createElement("button");
    button.type = "button";
    while (head.firstChild) button.appendChild(head.firstChild);
    head.appendChild(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") !== "descending";
      var place = Array.prototype.indexOf.call(head.parentNode.children, head);
      var body = head.closest("table").tBodies[0];
      Array.prototype.forEach.call(head.parentNode.children, function (th) { th.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      var key = function (row) {
        var cell = row.cells[place], value = cell.getAttribute("data-v");
        return value === null ? cell.textContent.trim().toLowerCase() : value === "" ? null : Number(value);
      };
      Array.prototype.slice.call(body.rows).map(function (row) { return [key(row), row]; }).sort(function (a, b) {
        if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
        return (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (down ? -1 : 1);
      }).forEach(function (pair) { body.appendChild(pair[1]); });
    });
  });

  // Filter box over a table; a folded table opens.
  each("input[data-filter]", function (box) {
    var rows = document.getElementById(box.getAttribute("data-filter")).tBodies[0].rows;
    box.addEventListener("input", function () {
      var wanted = box.value.toLowerCase(), rest = box.closest("main").querySelector(".rest");
      if (wanted && rest) rest.open = true;
      Array.prototype.forEach.call(rows, function (row) { row.hidden = row.textContent.toLowerCase().indexOf(wanted) < 0; });
    });
  });

  // Copy as text, copy a command.
  var copy = function (text, button) {
    var old = button.textContent;
    var done = function (word) { button.textContent = word; setTimeout(function () { button.textContent = old; }, 1500); };
    var byHand = function () {
      var area = document.createElement("textarea");
      area.value = text;
      document.body.appendChild(area);
      area.select();
      var worked = document.execCommand("copy");
      area.remove();
      done(worked ? "copied" : "could not copy");
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(function () { done("copied"); }, byHand); else byHand();
  };
  each("button[data-copy]", function (button) {
    button.addEventListener("click", function () {
      copy(document.getElementById(button.getAttribute("data-copy")).textContent.trim(), button);
    });
  });

  // "?" shows how to read this.
  document.addEventListener("keydown", function (event) {
    if (event.key !== "?" || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
    document.getElementById("how").scrollIntoView();
  });
})();
