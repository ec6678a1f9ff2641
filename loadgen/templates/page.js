// Everything on this page can be read without this script. It sorts tables, shows some targets only, switches axes and
// tells the figure under the pointer.
'use strict';
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: a button in each heading; what has no figure stays last in either direction.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return 'key' in cell.dataset ? Number(cell.dataset.key) : null;
  };
  const sort = (table, column, falls) => {
    const body = table.tBodies[0];
    const numeric = [...body.rows].some(row => keyOf(row, column) !== null);
    const compare = (one, other) => {
      if (!numeric) {
        const order = one.cells[column].textContent.localeCompare(other.cells[column].textContent, 'en', { numeric: true });
        return falls ? -order : order;
      }
      const [a, b] = [keyOf(one, column), keyOf(other, column)];
      if (a === null || b === null) return (a === null) - (b === null);
      return falls ? b - a : a - b;
    };
    body.append(...[...body.rows].sort(compare));
  };
  for (const table of all('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const was = head.getAttribute('aria-sort');
        const falls = was ? was === 'ascending' : head.classList.contains('figure');
        heads.forEach(other => other.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', falls ? 'descending' : 'ascending');
        sort(table, column, falls);
      });
    });
  }

  // The filter: rows of tables are left out, rows of charts move up, lines and their names go.
  const form = document.getElementById('filter');
  const rowsFrom = 40; // Below the axis, which stands above the rows.
  const restack = svg => {
    const height = Number(svg.closest('figure').dataset.row);
    let y = rowsFrom;
    for (const row of all('g.row:not(.off)', svg)) {
      row.setAttribute('transform', `translate(0 ${y})`);
      y += height;
    }
    svg.setAttribute('height', y);
  };
  const filter = () => {
    const words = document.getElementById('names').value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const models = new Set(all('input[type=checkbox]:checked', form).map(box => box.value));
    const shows = element => models.has(element.dataset.model)
      && (!words.length || words.some(word => element.dataset.target.toLowerCase().includes(word)));
    const [shown, known] = [new Set(), new Set()];
    for (const element of all('[data-target]')) {
      const isShown = shows(element);
      known.add(element.dataset.target);
      if (isShown) shown.add(element.dataset.target);
      if (element.tagName === 'TR') element.hidden = !isShown;
      else element.classList.toggle('off', !isShown);
    }
    all('figure svg.chart').filter(svg => svg.querySelector('g.row')).forEach(restack);
    document.getElementById('shown').textContent = shown.size < known.size ? `${shown.size} of ${known.size} shown` : '';
  };
  if (form) {
    form.hidden = false;
    form.addEventListener('input', filter);
    form.addEventListener('submit', event => event.preventDefault());
    // A browser keeps what was typed when the page is loaded again.
    filter();
  }

  // Axes: each chart with a logarithmic twin has a switch.
  for (const log of all('figure > svg.log')) {
    const figure = log.parentElement;
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'logarithmic axis';
    button.setAttribute('aria-pressed', 'false');
    button.addEventListener('click', () => {
      const isLog = log.hasAttribute('hidden');
      log.toggleAttribute('hidden', !isLog);
      figure.querySelector(':scope > svg.linear').toggleAttribute('hidden', isLog);
      button.setAttribute('aria-pressed', String(isLog));
    });
    figure.querySelector('figcaption').append(button);
  }

  // The figure under the pointer. Whoever uses a keyboard has it in the table below each chart.
  const tip = document.getElementById('tip');
  document.addEventListener('pointerover', event => {
    const element = event.target.closest('[data-tip]');
    tip.hidden = !element;
    if (element) tip.textContent = element.dataset.tip;
  });
  document.addEventListener('pointermove', event => {
    if (tip.hidden) return;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 4))}px`;
    tip.style.top = `${event.clientY > height + 16 ? event.clientY - height - 10 : event.clientY + 16}px`;
  });
  document.addEventListener('keydown', event => {
    if (event.key === 'Escape') tip.hidden = true;
  });

  // On paper everything is open.
  addEventListener('beforeprint', () => all('details').forEach(details => { details.open = true; }));
})();
