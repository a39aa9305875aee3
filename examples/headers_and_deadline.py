"""What travels beside the arguments: headers, priority, and how much time is left.

Prints:

    report for ada, priority 9, in time: True
    'endless' got no reply in time; give it longer with timeout_s
    the handler saw that nobody waited any more: True
"""

import threading

import zmqkit

service = zmqkit.Service("example-reports")
given_up = threading.Event()
never = threading.Event()


@service.handler
def report() -> str:
    request = zmqkit.current_request()
    in_time = 0 < request.time_left_s() <= 2
    return f"for {request.headers['user']}, priority {request.priority}, in time: {in_time}"


@service.handler
def endless() -> None:
    """Works for as long as somebody waits for it, and a moment longer."""
    request = zmqkit.current_request()
    while request.time_left_s() > 0:
        never.wait(0.01)
    never.wait(0.1)
    given_up.set()


with service:
    thread = threading.Thread(target=service.serve)
    thread.start()
    with zmqkit.Client("example-reports") as client:
        hurried = client.options(timeout_s=2, priority=9, headers={"user": "ada"})
        print("report", hurried.call("report"))
        try:
            client.options(timeout_s=0.3).call("endless")
        except zmqkit.CallTimeout as error:
            print(error)
        print("the handler saw that nobody waited any more:", given_up.wait(2))
    service.stop()
    thread.join()
