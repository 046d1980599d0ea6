"""A headless Chromium of the distribution, driven by its own driver."""

import json
import os

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from daemon import wait_for


class Browser:
    """One browser for many pages."""

    def __init__(self):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                         "--no-first-run", "--no-proxy-server", "--window-size=1280,1000"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # which Chromium does not have as root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(20)

    def open(self, url):
        self.driver.get("about:blank")
        self.console()
        self.driver.get(url)

    def close(self):
        self.driver.quit()

    def console(self):
        """What the page's console has got since the last look."""
        return [line["level"] + " " + line["message"] for line in self.driver.get_log("browser")]

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def text(self, selector):
        """What a user reads in all elements of the selector."""
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".filter((e) => e.checkVisibility())"
                        ".map((e) => e.innerText).join('\\n')", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def wait(self, selector, words, limit=15):
        try:
            wait_for(lambda: words in self.text(selector), limit)
        except AssertionError as e:
            raise AssertionError("no %r in %r, which is %r; console: %s" % (
                words, selector, self.text(selector), json.dumps(self.console()))) from e

    def screen(self, width, height, phone=False, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def keys(self, selector, *keys):
        self.driver.find_element("css selector", selector).send_keys(*keys)
