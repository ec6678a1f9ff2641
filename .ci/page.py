"""Opens pages of results in headless Chromium from disk and looks at them as readers do.

    page.py PICTURES PAGE.html...

Each page at two widths, light and dark: nothing is loaded but the page itself, no error on the console, nothing wider than the
window, every chart and its words to be seen, tables that sort, targets that are filtered, axes that change, figures under the
pointer, nothing that axe objects to; and readable with scripts switched off. PICTURES gets a picture of each.
"""
import base64
import importlib.util
import json
import pathlib
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

WIDTHS = {"phone": (390, 844), "desk": (1400, 900)}
SCHEMES = ["light", "dark"]
TALLEST = 12_000  # Of a picture, in pixels.
found = []


def check(what, holds, seen=""):
    if not holds:
        found.append(f"{what}: {seen}" if seen else what)
        print(f"  FAILED {found[-1]}", flush=True)


def axe_script():
    """The axe that the PyPI package carries; the package's own driver is not used."""
    package = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    return next(pathlib.Path(package).rglob("axe.min.js")).read_text()


def browser():
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    # No name is resolved, so whatever the page might ask for beyond itself fails.
    for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def show(driver, page, size, scheme):
    width, height = size
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.get(page.resolve().as_uri())


def console(driver, page):
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    check(f"{page}: console", not errors, errors)
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            check(f"{page}: loads only itself", url.startswith(("file:", "data:")), url)


LAYOUT = """
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const charts = [...document.querySelectorAll('figure > svg.chart:not([hidden])')];
const box = element => element.getBoundingClientRect();
const name = svg => svg.querySelector('title').textContent;
const small = charts.filter(svg => box(svg).width < 250 || box(svg).height < 60).map(name);
const cut = [];
for (const svg of charts) for (const text of svg.querySelectorAll('text')) {
  if (getComputedStyle(text).display === 'none') continue;
  const [inner, outer] = [box(text), box(svg)];
  if (inner.left < -1 || inner.right > document.documentElement.clientWidth + 1 || inner.top < outer.top - 2
      || inner.bottom > outer.bottom + 2) cut.push(name(svg) + ': ' + text.textContent);
}
const overlapping = [];
for (const row of document.querySelectorAll('figure > svg.chart:not([hidden]) g.row')) {
  const texts = [...row.querySelectorAll('text')].map(box);
  if (texts.length === 2 && texts[0].right > texts[1].left) overlapping.push(row.dataset.target);
}
const empty = charts.filter(svg => !svg.querySelector('circle, rect.mark, path.mark, path.line, rect.void, text')).map(name);
return {wide, charts: charts.length, small, cut, overlapping, empty};
"""


def layout(driver, where):
    seen = driver.execute_script(LAYOUT)
    check(f"{where}: nothing is wider than the window", seen["wide"] <= 0, seen["wide"])
    check(f"{where}: has charts", seen["charts"] > 0)
    for fault in ["small", "cut", "overlapping", "empty"]:
        check(f"{where}: {fault}", not seen[fault], seen[fault][:5])
    return seen["charts"]


def axe(driver, script, where):
    driver.execute_script(script)
    result = driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
        ".then(done, error => done({violations: [{id: String(error), nodes: []}]}));")
    for violation in result["violations"]:
        nodes = [node["html"][:120] for node in violation["nodes"][:3]]
        check(f"{where}: axe", False, f"{violation['id']}, {len(violation['nodes'])} times: {nodes}")


def sorts(driver, where):
    table = next((table for table in driver.find_elements(By.CSS_SELECTOR, "section.first table.sortable, table.sortable")
                  if table.find_elements(By.CSS_SELECTOR, "td[data-key]")), None)
    check(f"{where}: has a table to sort", table is not None)
    if table is None:
        return
    keys = "return [...arguments[0].tBodies[0].rows].map(row => row.cells[1].dataset.key).filter(Boolean).map(Number)"
    for order in ["descending", "ascending"]:
        head = table.find_elements(By.CSS_SELECTOR, "thead th")[1]
        driver.execute_script("arguments[0].querySelector('button').click()", head)
        got = driver.execute_script(keys, table)
        check(f"{where}: sorts {order}", got == sorted(got, reverse=order == "descending"), got)
        check(f"{where}: says how it is sorted", head.get_attribute("aria-sort") == order, head.get_attribute("aria-sort"))


def filters(driver, where):
    """Only where there are targets to choose from: the page of a sweep has one."""
    names = driver.find_elements(By.ID, "names")
    if not names:
        return
    shown = "return [...document.querySelectorAll('tbody tr[data-target]:not([hidden]), g[data-target]:not(.off)')].map(e => e.dataset.target)"
    all_names = sorted(set(driver.execute_script(shown)))
    one = all_names[0]
    names[0].send_keys(one)
    left = set(driver.execute_script(shown))
    check(f"{where}: filters", left and all(one in name for name in left), left)
    names[0].clear()
    names[0].send_keys("x\b")
    check(f"{where}: shows all again", sorted(set(driver.execute_script(shown))) == all_names)


def switches_axes(driver, where):
    buttons = driver.find_elements(By.CSS_SELECTOR, "figcaption button[aria-pressed]")
    for button in buttons:
        driver.execute_script("arguments[0].click()", button)
    seen = driver.execute_script(
        "return [...document.querySelectorAll('figure')].filter(f => f.querySelector(':scope > svg.log'))"
        ".map(f => [f.querySelector(':scope > svg.log').getBoundingClientRect().height > 0,"
        " f.querySelector(':scope > svg.linear').getBoundingClientRect().height])")
    check(f"{where}: switches to a logarithmic axis", all(log and linear == 0 for log, linear in seen), seen)
    layout(driver, f"{where}, logarithmic")
    for button in buttons:
        driver.execute_script("arguments[0].click()", button)


def tells_figures(driver, where):
    told = driver.execute_script("""
        const mark = document.querySelector('figure > svg:not([hidden]) [data-tip]');
        if (!mark) return null;
        mark.dispatchEvent(new PointerEvent('pointerover', {bubbles: true, clientX: 50, clientY: 50}));
        const tip = document.getElementById('tip');
        return [tip.hidden, tip.textContent, mark.dataset.tip];""")
    check(f"{where}: tells the figure under the pointer", told and not told[0] and told[1] == told[2], told)


def picture(driver, path, size):
    driver.execute_script("document.getElementById('tip').hidden = true; scrollTo(0, 0)")
    height = min(driver.execute_script("return document.documentElement.scrollHeight"), TALLEST)
    clip = {"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(shot["data"]))


def without_scripts(driver, page):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    show(driver, page, WIDTHS["desk"], "light")
    layout(driver, f"{page}, no scripts")
    form = driver.find_elements(By.ID, "filter")
    check(f"{page}, no scripts: nothing that does not work", all(not each.is_displayed() for each in form))
    hidden = "return [...document.querySelectorAll('main section')].filter(s => s.getBoundingClientRect().height < 20).length"
    check(f"{page}, no scripts: every section is there", driver.execute_script(hidden) == 0)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def printed(driver, page):
    pdf = driver.execute_cdp_cmd("Page.printToPDF", {})["data"]
    check(f"{page}: prints", len(pdf) > 10_000, len(pdf))


def main(pictures, pages):
    began = time.monotonic()
    pictures.mkdir(parents=True, exist_ok=True)
    script = axe_script()
    driver = browser()
    try:
        for page in pages:
            for width, size in WIDTHS.items():
                for scheme in SCHEMES:
                    where = f"{page}, {width}, {scheme}"
                    show(driver, page, size, scheme)
                    charts = layout(driver, where)
                    picture(driver, pictures / f"{page.parent.name}-{page.stem}-{width}-{scheme}.png", size)
                    axe(driver, script, where)
                    if scheme == "light":
                        sorts(driver, where)
                        filters(driver, where)
                        switches_axes(driver, where)
                        tells_figures(driver, where)
                    console(driver, where)
                    print(f"{where}: {charts} charts", flush=True)
            printed(driver, page)
            without_scripts(driver, page)
    finally:
        driver.quit()
    print(f"{len(pages)} pages in {time.monotonic() - began:.0f} s, {len(found)} faults; pictures in {pictures}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), [pathlib.Path(page) for page in sys.argv[2:]])
