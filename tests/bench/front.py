"""nginx in front of all systems: /N/close and /N/keep ask the one with number N."""

import os
import shutil

from systems import GROUP, USER, AS_ROOT, System, is_unix, wait_until

# Until nginx closes a kept connection that it has no request for. With systems that serve one
# connection at a time that long a measurement lasts longer: until then the others wait.
IDLE = "200ms"

PARAMS = """SCRIPT_FILENAME {script}
REQUEST_METHOD $request_method
QUERY_STRING $query_string
CONTENT_TYPE $content_type
CONTENT_LENGTH $content_length
SCRIPT_NAME {name}
REQUEST_URI $request_uri
DOCUMENT_URI $document_uri
SERVER_PROTOCOL $server_protocol
REQUEST_SCHEME $scheme
GATEWAY_INTERFACE CGI/1.1
SERVER_SOFTWARE nginx
REMOTE_ADDR $remote_addr
REMOTE_PORT $remote_port
SERVER_ADDR $server_addr
SERVER_PORT $server_port
SERVER_NAME $server_name"""


class Nginx(System):
    name = "nginx"
    workers = 1  # at least

    def __init__(self, directory, address, upstreams):
        super().__init__(directory, address, 1)
        self.upstreams = upstreams

    def location(self, path, upstream, name, keep):
        params = PARAMS.format(script=os.path.join(self.directory, "counter.php"), name=name)
        return "location = %s {\nfastcgi_pass %s;\n%s%s\n}\n" % (
            path, upstream, "fastcgi_keep_conn on;\n" if keep else "",
            "\n".join("fastcgi_param %s;" % line for line in params.split("\n")))

    def configuration(self):
        text = ["daemon off;\nworker_processes auto;\nerror_log %s;\npid %s;\n" %
                (self.path(".log"), self.path(".pid")),
                "user %s %s;\n" % (USER, GROUP) if AS_ROOT else "",
                "events { worker_connections 4096; }\nhttp {\naccess_log off;\n",
                "keepalive_requests 100000000;\n"]
        for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"):
            text.append("%s_temp_path %s;\n" % (kind, self.path("." + kind)))
        for number, system in enumerate(self.upstreams):
            server = ("unix:" if is_unix(system.address) else "") + system.address
            text.append("upstream close%d { server %s; }\n" % (number, server))
            text.append("upstream keep%d { server %s; keepalive 16; keepalive_timeout %s;\n"
                        "keepalive_requests 100000000; }\n" % (number, server, IDLE))
        text.append("server {\nlisten %s backlog=4096;\n" % self.address)
        for number in range(len(self.upstreams)):
            for kind in ("close", "keep"):
                for name in ("/", "/slow"):
                    text.append(self.location("/%d/%s%s" % (number, kind, name.rstrip("/")),
                                              "%s%d" % (kind, number), name, kind == "keep"))
        return "".join(text) + "}\n}\n"

    def command(self):
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-e", self.path(".log"),
                "-p", self.directory, "-c", self.write(".conf", self.configuration())]

    def start(self):
        super().start()
        wait_until(lambda: os.path.exists(self.path(".pid")), "nginx")


def path(number, keep, slow=False):
    return "/%d/%s%s" % (number, "keep" if keep else "close", "/slow" if slow else "")
