"""Many calls with a window of them under way: the values come in order.

Prints:

    first five: [0, 1, 4, 9, 16]
    the sum of 2,000 squares: 2664667000
    the first square above 100 is 121, and fewer than 50 numbers were read: True
    25, UsageError, 16
"""

import itertools
import threading

import zmqkit

service = zmqkit.Service("example-map")


@service.handler
def square(number: int) -> int:
    """Return the square."""
    return number * number


service.start()
thread = threading.Thread(target=service.serve)
thread.start()

with zmqkit.Client("example-map") as client:
    with client.map("square", itertools.count()) as squares:
        print("first five:", list(itertools.islice(squares, 5)))
    print("the sum of 2,000 squares:", sum(client.map("square", range(2_000), window=500)))

    numbers = itertools.count()
    large = next(each for each in client.map("square", numbers, window=20) if each > 100)
    few = next(numbers) < 50
    print("the first square above 100 is", large, end=", ")
    print("and fewer than 50 numbers were read:", few)

    answers = list(client.map("square", [5, object(), 4], return_errors=True))
    print(answers[0], type(answers[1]).__name__, answers[2], sep=", ")

service.close()
thread.join()
