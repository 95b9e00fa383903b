"""Examples: sends a fresh Irori with the shipped models every request that its contract shows, and holds each answer, and each
example in JSON, to the schema that the contract gives it.

    irori serve --models COPY-OF-MODELS --data EMPTY --admin-token contract
    python tests/contract/examples.py http://127.0.0.1:8080 contract
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

# What the others need comes first, and what takes it away again last.
FIRST = ["put_dataset", "train", "import_version", "evaluate", "promote", "rollback"]
LAST = ["delete_version", "delete_dataset", "v2_unload", "v2_load"]
TYPES_OF_FILES = {"png": "image/png", "form": "multipart/form-data; boundary="}


class Contract:
    def __init__(self, document):
        self.document = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource("urn:contract", resource)

    def resolve(self, value):
        while "$ref" in value:
            found = self.document
            for name in value["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            value = found
        return value

    def operations(self):
        """Each with its method and path, in an order in which all can be answered."""
        all = [
            (method.upper(), path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        ]

        def place(operation):
            name = operation[2]["operationId"]
            return FIRST.index(name) - len(FIRST) if name in FIRST else LAST.index(name) + 1 if name in LAST else 0

        return sorted(all, key=place)

    def examples(self, content):
        """The examples of a content or a parameter: values, or addresses of files."""
        content = self.resolve(content)
        schema = self.resolve(content.get("schema", {}))
        if "example" in content:
            return [content["example"]]
        if "examples" in content:
            return [named.get("value", named.get("externalValue")) for named in content["examples"].values()]
        return [schema["example"]] if "example" in schema else []

    def faults(self, schema, value):
        schema = {"allOf": [schema], "components": self.document["components"]}
        validator = OAS31Validator({"$id": "urn:contract", **schema}, registry=self.registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


class Server:
    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, method, path, body=None, headers=()):
        request = urllib.request.Request(self.url + path, body, dict(headers), method=method)
        request.add_header("authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def wait(self, job):
        while json.loads(self.ask("GET", job)[2])["state"] in ("queued", "running"):
            time.sleep(0.1)


def bodies(contract, server, operation):
    """Each body that is shown, with the type to send it as; nothing, once, where there is none."""
    contents = contract.resolve(operation.get("requestBody", {})).get("content", {})
    for kind, content in contents.items():
        for example in contract.examples(content):
            if kind == "application/json":
                yield kind, json.dumps(example).encode()
                continue
            status, _, file = server.ask("GET", example)
            assert status == 200, example
            precise = TYPES_OF_FILES.get(example.rsplit(".", 1)[-1], kind)
            if kind.startswith("multipart/"):
                # The boundary is what the first line has behind its two dashes.
                precise += file.split(b"\r\n", 1)[0].decode()[2:]
            yield kind if "*" not in kind and kind[0] != "m" else precise, file
    if not contents:
        yield None, None


def addresses(contract, path, operation, kind):
    """Where to ask, and with which headers: each value once where only some are allowed and one is required."""
    query, headers, choices = {}, {}, [None]
    for parameter in map(contract.resolve, operation.get("parameters", [])):
        name, schema = parameter["name"], contract.resolve(parameter["schema"])
        examples = contract.examples(parameter)
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", urllib.parse.quote(str(examples[0])))
        elif parameter["in"] == "header":
            # One without an example of its own belongs to bodies that are no JSON.
            if examples or kind == "application/octet-stream":
                headers[name] = str((examples or schema["examples"])[0])
        elif parameter.get("required") and "enum" in schema:
            choices = [(name, value) for value in schema["enum"]]
        else:
            query[name] = examples[0]
    for choice in choices:
        asked = {**query, **dict([choice] if choice else [])}
        yield path + ("?" + urllib.parse.urlencode(asked) if asked else ""), headers


def check_answer(contract, operation, status, headers, body):
    """What is wrong with an answer."""
    response = operation["responses"].get(str(status))
    if not 200 <= status < 300 or response is None:
        return [f"{status} {body[:300]!r}"]
    contents = contract.resolve(response).get("content", {})
    kind = headers.get("content-type")
    if not contents:
        return [f"a body where there should be none: {kind}"] if body else []
    if kind not in contents:
        return [f"the type {kind} is not among {list(contents)}"]
    if kind == "application/json":
        return contract.faults(contents[kind]["schema"], json.loads(body))
    return []


def check_shown(contract, place, operation):
    """What is wrong with the examples in JSON."""
    parts = [(place, contract.resolve(operation.get("requestBody", {})))]
    parts += [(f"{place}, {status}", contract.resolve(answer)) for status, answer in operation["responses"].items()]
    for where, part in parts:
        for kind, content in part.get("content", {}).items():
            if kind.endswith("json") and "schema" in content:
                for example in contract.examples(content):
                    yield from (f"{where}: {fault}" for fault in contract.faults(content["schema"], example))


def main(url, token):
    server = Server(url, token)
    contract = Contract(json.loads(server.ask("GET", "/openapi.json")[2]))
    alias = json.dumps({"version": 1, "alias": "canary"}).encode()
    json_type = {"content-type": "application/json"}
    assert server.ask("POST", "/admin/models/digits/promote", alias, json_type)[0] == 200
    faults, count = [], 0
    for method, path, operation in contract.operations():
        faults += check_shown(contract, f"{method} {path}", operation)
        answers = [kind for status in operation["responses"] if status[0] == "2"
                   for kind in contract.resolve(operation["responses"][status]).get("content", {})]
        for kind, body in bodies(contract, server, operation):
            for address, headers in addresses(contract, path, operation, kind):
                for accept in answers or ["*/*"]:
                    headers = {**headers, "accept": accept} | ({"content-type": kind} if kind else {})
                    status, answered, content = server.ask(method, address, body, headers)
                    wrong = check_answer(contract, operation, status, answered, content)
                    faults += [f"{method} {address}, {kind}: {fault}" for fault in wrong]
                    count += 1
                    if status == 202:
                        server.wait(answered["location"])
    if faults:
        sys.exit("\n".join(faults))
    print(f"{count} requests that the contract shows were answered as it says")


if __name__ == "__main__":
    main(*sys.argv[1:])
