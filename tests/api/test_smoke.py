import httpx, json
from litestar import Litestar
from leaseq_api.app import create_app
async def test_smoke(config):
    app = create_app(config)
    print(json.dumps(app.openapi_schema.to_schema()["paths"]["/api/tasks"], indent=1)[:3000])
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
        for m, u, kw in [("POST","/api/tasks",dict(json={"type":"a","payload":{"a":1}}, headers={"Idempotency-Key":"k1"})),
            ("POST","/api/tasks",dict(json={"type":"a","payload":{"a":1}}, headers={"Idempotency-Key":'"k1"'})),
            ("POST","/api/tasks",dict(json={"type":"a","payload":{"a":2}}, headers={"Idempotency-Key":'"k1"'})),
            ("POST","/api/tasks",dict(json={"type":"a","payload":{"a":2},"zz":1})),
            ("POST","/api/tasks",dict(json={"type":"a","payload":{"a":2},"priority":"x"})),
            ("POST","/api/tasks",dict(content=b'{"type":"a","payload":' + b'1'*(1<<20) + b'}', headers={"Content-Type":"application/json"})),
            ("GET","/api/tasks?state=PENDING&limit=1",{}),("GET","/api/tasks?state=NOPE",{}),("GET","/api/tasks?limit=x",{}),("GET","/api/tasks?stat=x",{}),
            ("GET","/api/tasks/x",{}),("GET","/api/queues",{}),("POST","/api/queues/default/pause",{}),("GET","/api/workers",{}),("GET","/api/workers?limit=x",{}),("GET","/api/workers?limit=900",{}),
            ("GET","/health/live",{}),("GET","/health/ready",{}),("GET","/nope",{}),("DELETE","/api/tasks",{}),("GET","/api/tasks/%00?wait=nan",{}),("GET","/schema",{}),("GET","/schema/openapi.json",{}), ("HEAD","/health/live",{}),("OPTIONS","/health/live",{})]:
            r = await c.request(m,u,**kw); print(m,u,r.status_code,dict(r.headers),r.text[:500], "\n")
