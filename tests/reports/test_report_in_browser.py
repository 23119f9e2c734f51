"""The report in a real browser: it opens without errors, sorts, shows all images, fetches nothing, and fits a phone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_runs import UNKIND, save_grid, save_search

from zcpt_ray.reports.html_report import report_page
from zcpt_ray.reports.run_folders import find_runs

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync", "disable-dev-shm-usage")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """Chromium on a report of an ablation, of a search and of two grids."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("report")
    for seed, error in enumerate((12.0, 7.0, 9.0)):
        save_search(folder / "runs/ablation/cells" / f"{UNKIND.replace('/', '|')}{seed}", seed, error, UNKIND)
    save_search(folder / "runs/ablation/cells/fixed", 0, 8.0, "|nor_conv_3x3~0|" * 12, order="fixed")
    save_search(folder / "runs/ablation/cells/wide", 0, 100.0, num_proposals=100)
    save_search(folder / "runs/one/search", 0, 6.0)
    save_grid(folder / "runs/grid", (UNKIND, "search seed 1"))
    save_grid(folder / "runs/other grid")
    page = folder / "report.html"
    page.write_text(report_page(find_runs([folder / "runs"])))
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    driver.get("about:blank")
    driver.get_log("performance")  # what the browser itself opens with
    driver.get(page.as_uri())
    yield driver
    driver.quit()


def column(browser: "Chrome", heading: str, name: str) -> list[str]:
    """The cells of a column of the table below a heading, from top to bottom."""
    script = """
        const heading = [...document.querySelectorAll("h3")].find((h) => h.textContent === arguments[0]);
        const table = heading.nextElementSibling;
        const index = [...table.querySelectorAll("th")].findIndex((th) => th.textContent === arguments[1]);
        return [...table.querySelectorAll("tbody tr")].map((row) => row.cells[index].textContent);
    """
    found: list[str] = browser.execute_script(script, heading, name)
    return found


def click(browser: "Chrome", heading: str, name: str) -> None:
    from selenium.webdriver.common.by import By

    path = f"//h3[text()='{heading}']/following-sibling::div[1]//th/button[text()='{name}']"
    button = browser.find_element(By.XPATH, path)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button)
    button.click()


def test_it_opens_without_errors_and_fetches_nothing(browser: "Chrome") -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked
    assert {url.split(":")[0] for url in asked} == {"file", "data"}
    assert [url for url in asked if url.startswith("file:")] == [browser.current_url]
    assert browser.execute_script("return window.ran") is None


def test_every_image_is_there(browser: "Chrome") -> None:
    sizes = browser.execute_script("return [...document.images].map((i) => i.complete && i.naturalWidth)")
    assert len(sizes) == 2 * 6 + 1 + 2 * 2
    assert all(sizes)


def test_a_click_sorts_by_number_and_a_second_one_the_other_way(browser: "Chrome") -> None:
    name = "cifar10 [%]"
    click(browser, "All searches", name)
    assert column(browser, "All searches", name) == ["7.00", "8.00", "9.00", "12.00", "100.00"]
    click(browser, "All searches", name)
    assert column(browser, "All searches", name) == ["100.00", "12.00", "9.00", "8.00", "7.00"]
    assert len(browser.execute_script("return document.querySelectorAll('[aria-sort]')")) == 1


def test_text_sorts_too_and_what_is_missing_is_last(browser: "Chrome") -> None:
    click(browser, "All searches", "order")
    assert column(browser, "All searches", "order") == ["fixed", *4 * ["random"]]
    for _ in range(2):
        click(browser, "All runs", "best [%]")
        assert [text == "-" for text in column(browser, "All runs", "best [%]")] == [False, False, True, True]


def test_it_fits_a_phone_in_either_light(browser: "Chrome") -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    backgrounds = []
    for light in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": light}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.execute_script("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        width, inner, body = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth, document.body.scrollWidth]"
        )
        assert (width, inner) == (390, 390)
        assert body <= 390
        backgrounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]
    widest = browser.execute_script(
        "return Math.max(...[...document.images].map((i) => i.getBoundingClientRect().right))"
    )
    assert widest <= 390


def test_contents_lead_to_every_section(browser: "Chrome") -> None:
    script = (
        "return [...document.querySelectorAll('nav a, td a')].map((a) =>"
        " !!document.querySelector(a.getAttribute('href')))"
    )
    found = browser.execute_script(script)
    assert len(found) == 5 + 4  # the comparison of the grids is no run
    assert all(found)


def test_the_page_of_the_job_is_the_same(browser: "Chrome", tmp_path: Path) -> None:
    """Only what is in the runs counts: two pages of the same runs are equal."""
    save_search(tmp_path / "a", 0, 6.0)
    assert report_page(find_runs([tmp_path])) == report_page(find_runs([tmp_path]))
